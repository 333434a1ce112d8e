"""Grammar of the zh-en phrasebook corpus: words, numbers, slots and sentence patterns."""
