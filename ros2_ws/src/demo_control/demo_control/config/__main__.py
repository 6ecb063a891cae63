"""Writes the parameter file of the layer to standard output."""

from demo_control.config import parameter_file
from demo_control.layer import LayerSettings

if __name__ == "__main__":
    print(parameter_file("demo_layer_node", LayerSettings()), end="")
