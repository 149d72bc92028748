"""Foundation: the only importer of obstore, pyrage and zstandard. Stores, compression, encryption, object layout."""
