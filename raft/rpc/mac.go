package rpc

// The message authentication code: HMAC-SHA256 under the cluster's key (Q3). It says that a message was written by somebody
// who has the key, and for whom; that it is not an old one is said by boot epoch, term and round, which it covers.

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// Keys are the keys of a cluster's messages: one that seals and opens, and during a rotation another that still opens.
// Nil means that messages carry no MAC. Safe for use by several goroutines.
type Keys struct {
	current, previous *hasher
}

// NewKeys takes the key in use and the one it replaces, which may be empty. Without a current key it returns nil.
func NewKeys(current, previous []byte) *Keys {
	if len(current) == 0 {
		return nil
	}
	k := &Keys{current: newHasher(current)}
	if len(previous) > 0 {
		k.previous = newHasher(previous)
	}
	return k
}

// macBytes is what a MAC takes on the wire: tag, length, and SHA-256's 32 bytes.
const macBytes = len(macHead) + sha256.Size

// macHead is how the MAC field begins, always: field 15, bytes, 32 of them.
const macHead = "\x7a\x20"

// seal appends the MAC of message to it. The message begins at offset start of dst.
func (k *Keys) seal(dst []byte, start int) []byte {
	if k == nil {
		return dst
	}
	sum := k.current.sum(dst[start:])
	return append(append(dst, macHead...), sum[:]...)
}

// open returns what the MAC at the end of the frame covers, if it is right. All keys are tried, so that the time taken
// does not tell which fitted.
func (k *Keys) open(frame []byte) ([]byte, error) {
	if k == nil {
		return frame, nil
	}
	end := len(frame) - macBytes
	if end < 0 || string(frame[end:end+len(macHead)]) != macHead {
		return nil, ErrBadMAC
	}
	message, mac := frame[:end], frame[end+len(macHead):]
	good := k.current.matches(message, mac)
	if k.previous != nil {
		good = k.previous.matches(message, mac) || good
	}
	if !good {
		return nil, ErrBadMAC
	}
	return message, nil
}

// hasher keeps hashes that have taken in one key, since that costs as much as hashing a small message.
type hasher struct{ pool sync.Pool }

// keyedHash has room for its sum, which is therefore not allocated for each message.
type keyedHash struct {
	hash.Hash
	sum [sha256.Size]byte
}

func newHasher(key []byte) *hasher {
	key = bytes.Clone(key)
	return &hasher{sync.Pool{New: func() any { return &keyedHash{Hash: hmac.New(sha256.New, key)} }}}
}

func (h *hasher) sum(message []byte) [sha256.Size]byte {
	mac := h.pool.Get().(*keyedHash)
	defer h.pool.Put(mac)
	mac.Reset()
	mac.Write(message)
	mac.Sum(mac.sum[:0])
	return mac.sum
}

func (h *hasher) matches(message, mac []byte) bool {
	sum := h.sum(message)
	return hmac.Equal(sum[:], mac)
}
