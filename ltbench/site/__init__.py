"""Pages and figures of boards, methods and protocols, made from the records and the registry."""
