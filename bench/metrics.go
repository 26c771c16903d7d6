package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// metrics are what a server shows at one moment, by name and labels.
type metrics map[string]float64

// scrape reads a server's metrics.
func scrape(ctx context.Context, server string) (metrics, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics of %s: %s", server, res.Status)
	}
	m := metrics{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		line := lines.Text()
		end := strings.LastIndexByte(line, ' ')
		if end < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if m[line[:end]], err = strconv.ParseFloat(line[end+1:], 64); err != nil {
			return nil, fmt.Errorf("metrics of %s: %w", server, err)
		}
	}
	return m, lines.Err()
}

// sum adds up those of a name, whatever their labels.
func (m metrics) sum(name string) float64 {
	sum := m[name]
	for text, v := range m {
		if strings.HasPrefix(text, name+"{") {
			sum += v
		}
	}
	return sum
}
