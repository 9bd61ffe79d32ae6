"""Exports of schema raw as Parquet files in a bucket of their own, and tables put back out of them; knows no Dagster.

An export is a folder `raw/<export id>/` with the files of each table and, written last, `manifest.json`: one without it
does not exist. Backups of the database are not here, nor when an export is made (defs/).
"""
