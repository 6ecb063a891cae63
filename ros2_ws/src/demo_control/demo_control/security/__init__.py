"""Who may do what over DDS (SROS 2): roles, the keystore with their keys and permissions, and processes that use it.

`access` and `roles` say what each process needs; `permissions` writes that as DDS Security wants it; `authority` and
`keystore` need the package `cryptography`; `environment` is for whoever starts a node. None of them needs ROS.
"""
