"""Tests of the data contract."""
