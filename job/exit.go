package job

import (
	"strconv"
	"strings"
)

// signal returns the number of a signal that ends processes, on Linux.
func signal(name string) (int, bool) {
	switch name {
	case "SIGHUP":
		return 1, true
	case "SIGINT":
		return 2, true
	case "SIGQUIT":
		return 3, true
	case "SIGILL":
		return 4, true
	case "SIGTRAP":
		return 5, true
	case "SIGABRT":
		return 6, true
	case "SIGBUS":
		return 7, true
	case "SIGFPE":
		return 8, true
	case "SIGKILL":
		return 9, true
	case "SIGUSR1":
		return 10, true
	case "SIGSEGV":
		return 11, true
	case "SIGUSR2":
		return 12, true
	case "SIGPIPE":
		return 13, true
	case "SIGALRM":
		return 14, true
	case "SIGTERM":
		return 15, true
	case "SIGSTKFLT":
		return 16, true
	case "SIGXCPU":
		return 24, true
	case "SIGXFSZ":
		return 25, true
	case "SIGVTALRM":
		return 26, true
	case "SIGPROF":
		return 27, true
	case "SIGIO":
		return 29, true
	case "SIGPWR":
		return 30, true
	case "SIGSYS":
		return 31, true
	}
	n, err := strconv.Atoi(strings.TrimPrefix(name, "SIG"))
	return n, err == nil && n > 0
}

// ShellCode is the exit code as shells count it: after a signal, 128 and the
// signal's number.
func (e *Exit) ShellCode() int {
	if e.Signal == "" {
		return e.Code
	}
	if n, ok := signal(e.Signal); ok {
		return 128 + n
	}
	return e.Code
}
