create or replace view raw.records as
{{ records_of_every_table }};

comment on view raw.records is
    'Number and load of each record in the tables of the contract, whatever the status of its load';

grant select on raw.records to hiring_loader, hiring_transformer;
