// Package program finds the programs that a minion starts, and tells whether the
// file that is about to be run is the one that was looked at.
//
// What cannot be ensured: between the last look (Identity.Check) and the kernel's
// own opening of the file there are some microseconds, and root or the owner of
// the file can change it in them. Locate refuses programs that anybody else could
// change.
package program
