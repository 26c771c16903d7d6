// Package deps holds tests of what may depend on what: what each binary links,
// and which way the imports of the packages point.
package deps
