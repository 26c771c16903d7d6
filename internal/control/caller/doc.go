// Package caller carries who asks through a context, as far as the connection or a
// credential proves it. Not in it: what a caller may do, which is internal/rights'.
package caller
