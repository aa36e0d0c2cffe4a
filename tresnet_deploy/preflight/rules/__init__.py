"""The rules, one topic a file; ``catalogue.py`` of the folder above lists them all."""
