package target

import (
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// Host is what a target is matched against.
type Host struct {
	Name string
	// Addrs are the addresses of the host.
	Addrs []netip.Addr
	// Labels were granted to the host, Facts are its own word.
	Labels, Facts map[string]string
	// LabelNames are the names of labels that any host has been granted. Without a
	// scope they never stand for facts, but for those of IsHostFact: a host could
	// take a label's place by a fact of its name.
	LabelNames map[string]struct{}
}

// IsHostFact reports whether a fact is one that minions tell of every host.
func IsHostFact(name string) bool {
	switch name {
	case "os", "arch", "kernel", "distribution", "distributionVersion", "hostname", "fqdn", "ip", "addresses",
		"cpus", "memoryBytes", "bootTime", job.FactBootID, "cgroup", job.FactArgBytes:
		return true
	}
	return false
}

// LabelNames returns the names of all labels of minions.
func LabelNames(labels iter.Seq[map[string]string]) map[string]struct{} {
	names := map[string]struct{}{}
	for of := range labels {
		for k := range of {
			names[k] = struct{}{}
		}
	}
	return names
}

// HostOf returns a minion as targets see it; labelNames are those of the whole
// cluster. Its addresses are those of the fact
// addresses, separated by commas, and that of the fact ip.
func HostOf(m *job.Minion, labelNames map[string]struct{}) Host {
	h := Host{Name: string(m.ID), Labels: m.Labels, Facts: m.Facts, LabelNames: labelNames}
	for text := range strings.SplitSeq(m.Facts["ip"]+","+m.Facts["addresses"], ",") {
		if addr, err := netip.ParseAddr(text); err == nil && !slices.Contains(h.Addrs, addr) {
			h.Addrs = append(h.Addrs, addr)
		}
	}
	return h
}

// scope says where the value of a key comes from.
type scope string

const (
	// scopeAny is the label of that name, or else the fact.
	scopeAny   scope = ""
	scopeLabel scope = "label."
	scopeFact  scope = "fact."
)

// key names a label or a fact.
type key struct {
	scope scope
	name  string
}

// newKey reads a key such as os, label.os or fact.os.
func newKey(text string) key {
	for _, s := range []scope{scopeLabel, scopeFact} {
		if name, ok := strings.CutPrefix(text, string(s)); ok && name != "" {
			return key{s, name}
		}
	}
	return key{scopeAny, text}
}

// lookup returns the host's value.
func (k key) lookup(h *Host) (value string, ok bool) {
	if k.scope != scopeFact {
		if value, ok = h.Labels[k.name]; ok || k.scope == scopeLabel {
			return value, ok
		}
		if _, label := h.LabelNames[k.name]; label && k.scope == scopeAny && !IsHostFact(k.name) {
			return "", false
		}
	}
	value, ok = h.Facts[k.name]
	return value, ok
}

func (k key) String() string { return string(k.scope) + k.name }
