"""Which outputs are stale: made with other code, other parameters or other data than there are now.

A fingerprint is one small JSON file per node, in ``data/.fingerprints``; the catalog says where.
It holds the hash of every module of this package that the node uses (:mod:`..provenance`), the
values of its parameters, the hashes of its input files, the versions of torch, xlstm and this
package as far as it uses them, the catalog entries it reads and writes through, and the hashes of
its output files.

A node all of whose outputs stay in memory has none: it counts as a part of every node that reads
from it. It runs only when one of those runs.

Every parameter of a node counts but ``compute.threads``, which is saved but not compared: it is
there for speed, ParallelRunner sets it by the number of its workers, and what differs with it are
the last bits of sums.
"""
