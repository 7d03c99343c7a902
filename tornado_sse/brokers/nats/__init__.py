"""The broker on NATS JetStream: one stream keeps and numbers all messages, and republishes each to who listens.

`codec` says how a message reads on a subject, `layout` how the stream is set up, `feed` holds the order and finds
holes: these three are pure. `link` is a connection, `reader` reads history, `broker` brings it all together.
"""
