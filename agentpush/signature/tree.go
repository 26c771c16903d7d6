package signature

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/carillon-cron/carillon/job"
)

// What goes before leaves, and before pairs: none is taken for the other.
const (
	leafMark = 0
	pairMark = 1
)

// rootText is what the root that is signed follows.
const rootText = "carillon orders 1\x00"

// maxMinion is room for the name of a minion.
const maxMinion = job.MaxNameLen

// LeafOf returns the leaf of an order for a minion.
func LeafOf(digest Hash, minion job.MinionID) Hash {
	var room [1 + sha256.Size + maxMinion]byte
	b := append(room[:0], leafMark)
	b = append(b, digest[:]...)
	return sha256.Sum256(append(b, minion...))
}

func pairOf(left, right Hash) Hash {
	var b [1 + 2*sha256.Size]byte
	b[0] = pairMark
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

// signedText is the hash that is signed.
func signedText(root Hash, leaves int) Hash {
	b := make([]byte, 0, len(rootText)+8+sha256.Size)
	b = append(b, rootText...)
	b = binary.BigEndian.AppendUint64(b, uint64(leaves)) // a length
	return sha256.Sum256(append(b, root[:]...))
}

// tree has the leaves first, and each further level up to the root.
type tree [][]Hash

// grow makes the tree of leaves, which it keeps. There is one at least.
func grow(leaves []Hash) tree {
	t := append(make(tree, 0, 1+bits.Len(uint(len(leaves)))), leaves)
	for level := leaves; len(level) > 1; {
		up := make([]Hash, 0, (len(level)+1)/2)
		for i := 0; i+1 < len(level); i += 2 {
			up = append(up, pairOf(level[i], level[i+1]))
		}
		if len(level)%2 == 1 {
			up = append(up, level[len(level)-1])
		}
		t = append(t, up)
		level = up
	}
	return t
}

func (t tree) root() Hash { return t[len(t)-1][0] }

// path returns the neighbours of a leaf on its way up.
func (t tree) path(i int) []byte {
	out := make([]byte, 0, (len(t)-1)*sha256.Size)
	for _, level := range t[:len(t)-1] {
		if by := i ^ 1; by < len(level) {
			out = append(out, level[by][:]...)
		}
		i /= 2
	}
	return out
}

// climb returns the root over a leaf at a place among so many; false: the path is not
// that of such a place.
func climb(leaf Hash, place, leaves uint32, path []byte) (Hash, bool) {
	if place >= leaves {
		return leaf, false
	}
	for ; leaves > 1; place, leaves = place/2, leaves/2+leaves%2 {
		if place^1 >= leaves {
			continue // it has no neighbour
		}
		if len(path) < sha256.Size {
			return leaf, false
		}
		by := Hash(path[:sha256.Size])
		path = path[sha256.Size:]
		if place%2 == 0 {
			leaf = pairOf(leaf, by)
		} else {
			leaf = pairOf(by, leaf)
		}
	}
	return leaf, len(path) == 0
}
