"""Foundation: the contract between operator and agent (Task, Result), pod templates, names, exclusion."""
