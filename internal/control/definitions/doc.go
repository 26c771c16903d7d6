// Package definitions is what jobs name: calendars, and scripts with their versions. It
// reads and deletes them, and tells which jobs keep one from being deleted.
//
// A version of a script is written once and never changed, and its text is there
// from before an order can name it until nothing has named it for an hour.
//
// Not in it: how they are written; that is applying (see apply).
package definitions
