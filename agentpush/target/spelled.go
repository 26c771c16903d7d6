package target

// maxSpelled bounds the names of one pattern that are taken for names of hosts
// that somebody has spelled out; a larger range stands for whatever is in it.
const maxSpelled = 4096

// spelled calls f with each name that a node spells out, and not with globs. What is
// not wanted is among them.
func spelled(n node, f func(string)) {
	switch n := n.(type) {
	case *binary:
		spelled(n.left, f)
		spelled(n.right, f)
	case *exact:
		f(n.name)
	case *named:
		for _, p := range n.pattern {
			if p.star || p.one || p.class != nil {
				return
			}
		}
		if n.pattern.count() <= maxSpelled {
			n.pattern.expand("", f)
		}
	}
}

// Missing returns the names that the expression spells out, and that no known host
// has: typing errors, or hosts that are gone. Names that the rest of the expression
// does not admit are not among them, nor those in saved groups.
func (m *Matcher) Missing(known func(name string) bool) NodeSet {
	var out NodeSet
	spelled(m.root, func(name string) {
		if known(name) {
			return
		}
		if r := m.Match(&Host{Name: name}); r.Matched || len(r.Unknown) > 0 {
			out.Add(name)
		}
	})
	return out
}
