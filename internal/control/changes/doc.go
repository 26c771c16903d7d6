// Package changes tells subscribers in which topics something has changed, so that
// a page looks again. It says that there was a change, not which.
package changes
