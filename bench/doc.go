// Command bench measures Carillon and prints one line a figure:
//
//	BENCH <name> <value> <unit>
//
// Ratios compare with a peer or a raw baseline in the same run. The figures
// depend on the machine; only what was measured is printed.
package main
