// Package apitls is the TLS of a node's API and page: which certificate they show.
//
// There are two sources of it. [Files] are of the operator: they are read again when
// they have changed. [Own] is of the cluster's authority: the node makes itself a
// certificate for the names by which the API may be asked, and for the addresses at
// which it is, and makes the next one in time; its key is kept nowhere.
//
// # Invariants
//
//  1. What cannot serve is not taken: files that cannot be read, without a
//     certificate or a key, a key of another certificate, a certificate that is not
//     for servers, has expired or is not good yet. At the start the node says so and
//     ends.
//  2. Files that are changed for worse change nothing: what was good is shown on,
//     and the log says what is wrong with the new ones. A pair of which one file was
//     written and the other was not yet is such a case.
//  3. A handshake shows the files as they are when it begins: no reload has to be
//     asked for, and no connection is refused while files are exchanged.
//  4. A certificate of the cluster's authority for the API is for servers only, and
//     names no node: neither minions nor nodes take who shows it for one.
//  5. A certificate of the cluster's authority is good for the names that the node
//     was given, for loopback, and for each address of the host at which somebody
//     has connected: the same by which the check of Host lets requests in.
//  6. It is renewed after two thirds of its life, at the first handshake after that,
//     and where the clock was set back before its beginning.
//
// # Failures
//
//	new files are bad                    the old ones are shown on; the log says so once for each way of being bad
//	the certificate expires in its file  the log says so a week before and from then on each day; clients refuse the node
//	the cluster's authority has expired  handshakes fail; the log has it
//
// # Not promised
//
// Clients that resume a session see no new certificate until the session has ended.
package apitls
