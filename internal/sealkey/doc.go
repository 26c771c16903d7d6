// Package sealkey seals what a cluster keeps of its own in etcd, with a key that lies
// in a file of the nodes' hosts and never in etcd. It reads and makes that file, and
// knows no etcd; package sealing says what is sealed, and when.
//
// # The file
//
// A key to a line, csk_ and 49 letters and digits (package keytext); empty lines, and
// those that begin with #, do not count. The first key seals; all of them open. The
// file is for its owner alone (0600), who is root or the account that reads it.
//
// # A sealed value
//
//	sealed:1:KEY:BASE64
//
// KEY is the id of the key, 16 hexadecimal digits that tell nothing of it; BASE64 is
// without padding, in the alphabet for URLs, a nonce of 24 random bytes and what
// XChaCha20-Poly1305 makes of the value. 1 is the version of all this.
//
// # Invariants
//
//  1. A value opens under the name only for which it was sealed, the key of etcd and
//     the field: values that were exchanged do not open.
//  2. A value of which a bit was changed, the head included, does not open.
//  3. A file that others than its owner may read or write is refused, and one that
//     belongs to an account that is neither root's nor ours.
//  4. A file is made, and is given a further key, as a whole or not at all; one that
//     is there is never written over by a new one.
//  5. No error, and no text of a key for logs, has a part of a key or of a value.
//
// # Not promised
//
// How long a value is can be seen. Who reads the file, or the memory of a node, opens
// everything. An older value of the same name opens as well: who writes etcd can put
// one back.
package sealkey
