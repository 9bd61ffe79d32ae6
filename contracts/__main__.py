"""`python -m contracts`: check the contract against the Open Data Contract Standard, as `make lint` does."""

import json
import sys

import yaml
from jsonschema import Draft201909Validator
from open_data_contract_standard.model import OpenDataContractStandard

from contracts.tables import CONTRACT, ContractError, contract_version, read_contract


def problems() -> list[str]:
    """Return what is wrong with the contract, one sentence per problem."""
    text = CONTRACT.read_text()
    schema = json.loads(OpenDataContractStandard.json_schema())  # type: ignore[no-untyped-call]
    violations = [
        f"{'/'.join(map(str, error.path)) or 'contract'}: {error.message}"
        for error in Draft201909Validator(schema).iter_errors(yaml.safe_load(text))
    ]
    try:
        OpenDataContractStandard.from_string(text)
        read_contract()
        contract_version()
    except (ContractError, ValueError) as error:
        violations.append(str(error))
    return violations


def main() -> None:
    """Print what is wrong with the contract; exit with 1 if anything is."""
    violations = problems()
    for problem in violations:
        sys.stderr.write(f"{CONTRACT.name}: {problem}\n")
    sys.exit(1 if violations else 0)


if __name__ == "__main__":
    main()
