package worker

import (
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// facts returns what a minion tells of its host: os, arch, kernel, hostname,
// cpus, memoryBytes and ip (the first address that is not loopback). What
// cannot be found out is left out.
func facts() map[string]string {
	f := map[string]string{
		"os": runtime.GOOS, "arch": runtime.GOARCH, "cpus": strconv.Itoa(runtime.NumCPU()),
	}
	if h, err := os.Hostname(); err == nil {
		f["hostname"] = h
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		f["kernel"] = strings.TrimSpace(string(b))
	}
	var si syscall.Sysinfo_t
	if err := syscall.Sysinfo(&si); err == nil {
		f["memoryBytes"] = strconv.FormatUint(uint64(si.Totalram)*uint64(si.Unit), 10) //nolint:unconvert // 32 bits on some platforms
	}
	if ip := firstIP(); ip != "" {
		f["ip"] = ip
	}
	return f
}

func firstIP() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return ""
}
