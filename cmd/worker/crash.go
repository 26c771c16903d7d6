//go:build !fault

package main

// crash returns what is called at the named places of the protocol; nil: nothing.
// Programs that are built for fault tests kill themselves there when they are to.
func crash() func(point string) { return nil }
