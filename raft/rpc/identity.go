package rpc

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
)

// ClusterIDOf is the id of the cluster that begins with that table, in whatever order it is listed: the first 16 bytes of
// the SHA-256 of its members by id, each as a length byte, the id, and the instance. It is written down here and not left to
// the wire encoding, because a cluster keeps its id for ever.
func ClusterIDOf(table []Member) ClusterID {
	table = slices.Clone(table)
	slices.SortFunc(table, func(a, b Member) int { return strings.Compare(string(a.ID), string(b.ID)) })
	digest := sha256.New()
	for _, m := range table {
		var length [binary.MaxVarintLen64]byte
		digest.Write(length[:binary.PutUvarint(length[:], uint64(len(m.ID)))])
		digest.Write([]byte(m.ID))
		digest.Write(m.Instance[:])
	}
	return ClusterID(digest.Sum(nil)[:len(ClusterID{})])
}
