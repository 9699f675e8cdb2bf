"""rankless: fill in and factorise multiway data without choosing a rank."""

__version__ = "0.1.0"
