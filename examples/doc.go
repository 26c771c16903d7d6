// Package examples has programs that use Carillon; its tests run them.
//
//	nightly  registers a nightly job, and does it
//	upstream sends a plan, and is called back
//	report   works on a queue, and goes on where another worker has stopped
//	python   workers in Python, with its standard library alone
//	shell    a worker in shell; test/script runs it
package examples
