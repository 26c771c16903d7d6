// Package caller carries the account of who asks through a context, as far as the
// connection proves it. Not in it: what an account may do.
package caller
