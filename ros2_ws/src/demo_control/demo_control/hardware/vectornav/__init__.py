"""VectorNav VN-100 attitude and heading reference units: binary output frames, ASCII registers, and an emulated one."""
