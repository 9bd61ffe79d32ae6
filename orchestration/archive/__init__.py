"""Exports of schema raw as Parquet files in a bucket of their own, and restores from them; does not import Dagster.

An export is a folder `raw/<export id>/` with the files of each table and, written last, `manifest.json`: an export
without it is ignored. Backups of the database are in deploy/docker, jobs and schedules of exports in defs/.
"""
