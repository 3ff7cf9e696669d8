"""Shards: tars of samples, with an index that makes each sample one read away.

`samples` writes shards and reads samples at random, `index` locates them in a tar, `damage` finds shards that
cannot be read, `tasks` has the work on one shard, `existing` finds and indexes shards that others wrote, and
`remote` copies those in object storage.
"""
