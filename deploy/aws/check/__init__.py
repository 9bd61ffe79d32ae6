"""Tests of the Terraform code: applies it to an AWS emulator and checks the resources through AWS's APIs.

A module per area holds its checks; running Terraform and the emulator is in terraform.py and cloud.py. Checks of Python
code belong to tests.
"""
