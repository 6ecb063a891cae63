"""Writes a parameter file to standard output."""

import sys

from demo_control.config import FILES

if __name__ == "__main__":
    [name] = sys.argv[1:]
    print(FILES[name](), end="")
