// Package facts finds out what targets can select a host by: what the host
// itself tells, and what its administrators add.
//
// # Facts of the host
//
//	os, arch, kernel, distribution, distributionVersion
//	hostname, fqdn, ip (the first address), addresses (all, with commas between)
//	cpus, memoryBytes, bootTime (RFC 3339, UTC), bootId, cgroup (v2 or none)
//	argBytes: what a program takes as arguments and environment together
//
// What cannot be found out is left out. No name server is asked, so fqdn is
// there only where the host's name or /etc/hosts tell it.
//
// # Facts that are added
//
// Files of one directory, read in the order of their names; of two files that
// tell the same fact, the later one counts:
//
//	*.yaml, *.json   a mapping; {disk: {type: ssd}} is the fact disk.type, and a
//	                 list is its entries with commas between
//	*.txt            lines of key=value; empty lines and those that begin with # say nothing
//	executables      print a JSON object, or lines of key=value
//
// Names that begin with a dot or end with ~ are passed over.
//
// # Invariants
//
// F1. A file is taken whole or not at all. One that cannot be read, that says
// something that is no fact, or that runs longer than Timeout, changes nothing
// but the fact facts_error, which lists such files and what is wrong.
// F2. A file cannot change a fact of the host.
// F3. A file or its output has at most MaxBytes, a value MaxValue, and all files
// together tell at most MaxFacts facts.
// F4. A program is run only if it, and the directory, cannot be changed by others
// than root and the minion's own account. It gets neither the minion's
// environment nor its input, and over its time its process group is killed.
package facts
