package facts

import (
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Host returns the facts of the host itself.
func Host() map[string]string {
	f := map[string]string{
		"os": runtime.GOOS, "arch": runtime.GOARCH, "cpus": strconv.Itoa(runtime.NumCPU()),
	}
	add := func(name, value string) {
		if value != "" {
			f[name] = value
		}
	}
	if h, err := os.Hostname(); err == nil {
		add("hostname", h)
		add("fqdn", fqdn(h, content("/etc/hosts")))
	}
	add("kernel", strings.TrimSpace(content("/proc/sys/kernel/osrelease")))
	release := content("/etc/os-release")
	if release == "" {
		release = content("/usr/lib/os-release")
	}
	name, version := distribution(release)
	add("distribution", name)
	add("distributionVersion", version)
	add(job.FactBootID, strings.TrimSpace(content("/proc/sys/kernel/random/boot_id")))
	add(job.FactBootTime, bootTime(content("/proc/stat")))
	var si syscall.Sysinfo_t
	if err := syscall.Sysinfo(&si); err == nil {
		add("memoryBytes", strconv.FormatUint(uint64(si.Totalram)*uint64(si.Unit), 10)) //nolint:unconvert // 32 bits on some platforms
	}
	var stack syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_STACK, &stack); err == nil {
		add(job.FactArgBytes, strconv.FormatUint(argBytes(stack.Cur), 10))
	}
	if all := addresses(); len(all) > 0 {
		add("ip", all[0])
		add("addresses", strings.Join(all, ","))
	}
	return f
}

// argBytes is how many bytes of arguments and environment Linux takes for a program
// that is started with this limit of its stack: a quarter, within bounds.
func argBytes(stack uint64) uint64 {
	const most = 6 << 20 // three quarters of the usual limit
	return max(min(stack/4, most), job.MinExecBytes)
}

func content(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

// addresses returns the addresses of this host that others can use.
func addresses() []string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []string
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			out = append(out, n.IP.String())
		}
	}
	return out
}

// fqdn returns the host's name with its domain, if it has one or the table of
// hosts knows one.
func fqdn(host, hosts string) string {
	if strings.Contains(host, ".") {
		return host
	}
	for line := range strings.Lines(hosts) {
		line, _, _ = strings.Cut(line, "#")
		for i, name := range strings.Fields(line) {
			if i > 0 && strings.HasPrefix(name, host+".") {
				return strings.TrimSuffix(name, ".")
			}
		}
	}
	return ""
}

// distribution reads the id and the version from an os-release file.
func distribution(text string) (name, version string) {
	for line := range strings.Lines(text) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		v = strings.Trim(v, `"'`)
		switch k {
		case "ID":
			name = v
		case "VERSION_ID":
			version = v
		}
	}
	return name, version
}

// bootTime reads when the host was started.
func bootTime(stat string) string {
	for line := range strings.Lines(stat) {
		if v, ok := strings.CutPrefix(line, "btime "); ok {
			if n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64); err == nil {
				return time.Unix(n, 0).UTC().Format(time.RFC3339)
			}
		}
	}
	return ""
}
