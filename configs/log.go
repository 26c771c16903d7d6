package configs

import (
	"fmt"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// NewLogger makes the logger that Log describes. It writes to standard error.
func (l Log) NewLogger() (*zap.Logger, error) {
	level, err := zap.ParseAtomicLevel(l.Level)
	if err != nil {
		return nil, fmt.Errorf("log.level: %q is not known; debug, info, warn or error are allowed", l.Level)
	}
	cfg := zap.NewProductionConfig()
	if l.Format == "console" {
		cfg = zap.NewDevelopmentConfig()
		cfg.Development = false
	}
	cfg.Level = level
	cfg.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	cfg.DisableStacktrace, cfg.DisableCaller, cfg.Sampling = true, true, nil
	log, err := cfg.Build()
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	return log, nil
}
