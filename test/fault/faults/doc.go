// Package faults makes processes fail on purpose, as fault tests want it. It is linked
// only into programs that are built with the tag "fault".
package faults
