"""Foundation: the only importer of obstore: objects, compression, encryption, layout."""
