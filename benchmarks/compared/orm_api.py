"""The first metric as FastAPI and SQLAlchemy compute it for each request, out of plain tables of schema plain.

Runs in the project's own environment; DATABASE_URL says where the tables are, PORT where to listen.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ForeignKey, MetaData, create_engine, extract, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

# A connection for each request at a time: nobody waits for one.
engine = create_engine(os.environ["DATABASE_URL"], pool_size=8)
make_session = sessionmaker(engine)
app = FastAPI()


class Base(DeclarativeBase):
    """What the tables have in common."""

    metadata = MetaData(schema="plain")


class Department(Base):
    """A department."""

    __tablename__ = "departments"

    id: Mapped[int] = mapped_column(primary_key=True)
    department: Mapped[str]


class Job(Base):
    """A job."""

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(primary_key=True)
    job: Mapped[str]


class HiredEmployee(Base):
    """A hire, its moment in UTC."""

    __tablename__ = "hired_employees"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    hired_at: Mapped[datetime] = mapped_column("datetime", index=True)
    department_id: Mapped[int] = mapped_column(ForeignKey(Department.id), index=True)
    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id), index=True)


class QuarterlyHires(BaseModel):
    """Hires for a job in a department, by quarter of the year."""

    model_config = ConfigDict(from_attributes=True)

    department: str
    job: str
    Q1: int
    Q2: int
    Q3: int
    Q4: int


def session_of_request() -> Iterator[Session]:
    """Lend a session for the length of a request."""
    with make_session() as session:
        yield session


@app.get("/metrics/hires-by-quarter", response_model=list[QuarterlyHires])
def hires_by_quarter(
    session: Annotated[Session, Depends(session_of_request)], year: int = 2021, limit: int = 100, offset: int = 0
) -> object:
    """Count the hires of a year by department, job and quarter, ordered by department, then job."""
    quarter = extract("quarter", HiredEmployee.hired_at)
    query = (
        select(
            Department.department,
            Job.job,
            *(func.count().filter(quarter == number).label(f"Q{number}") for number in (1, 2, 3, 4)),
        )
        .select_from(HiredEmployee)
        .join(Department)
        .join(Job)
        .where(HiredEmployee.hired_at >= datetime(year, 1, 1), HiredEmployee.hired_at < datetime(year + 1, 1, 1))
        .group_by(Department.department, Job.job)
        .order_by(Department.department, Job.job)
        .limit(limit)
        .offset(offset)
    )
    return session.execute(query).all()


if __name__ == "__main__":
    Base.metadata.create_all(engine)
    uvicorn.run(app, port=int(os.environ["PORT"]), access_log=False)
