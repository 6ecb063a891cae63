"""Plants behind emulated devices; see :mod:`demo_control.hardware.emulation`."""
