package plan

import "hash/maphash"

// names are ids, each kept once, in little memory. A ref counts from 1.
type names struct {
	seed maphash.Seed
	text []byte
	// ends has where each name ends in text.
	ends []uint32
	// table finds a name by its hash: refs, 0 where there is none.
	table []uint32
}

func newNames() *names {
	return &names{seed: maphash.MakeSeed(), table: make([]uint32, 64)}
}

// ref returns the ref of a name, which is added if it is new.
func (n *names) ref(name string) uint32 {
	if 2*len(n.ends) >= len(n.table) {
		n.grow()
	}
	at := n.find(name)
	if n.table[at] == 0 {
		n.text = append(n.text, name...)
		n.ends = append(n.ends, uint32(len(n.text))) // a plan has fewer than 4 GiB
		n.table[at] = uint32(len(n.ends))
	}
	return n.table[at]
}

// has returns the ref of a name; 0: it is not there.
func (n *names) has(name string) uint32 { return n.table[n.find(name)] }

// find returns where in the table a name is, or would be.
func (n *names) find(name string) int {
	mask := len(n.table) - 1
	at := int(maphash.String(n.seed, name)) & mask
	for n.table[at] != 0 && n.name(n.table[at]) != name {
		at = (at + 1) & mask
	}
	return at
}

func (n *names) grow() {
	n.table = make([]uint32, 2*len(n.table))
	for i := range n.ends {
		ref := uint32(i + 1)
		n.table[n.find(n.name(ref))] = ref
	}
}

// name returns the name of a ref.
func (n *names) name(ref uint32) string {
	from := uint32(0)
	if ref > 1 {
		from = n.ends[ref-2]
	}
	return string(n.text[from:n.ends[ref-1]])
}
