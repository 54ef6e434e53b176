package linear

import "os"

// tempDir is where drawings of failed histories go: $RAFTBUS_ARTIFACTS, or the system's place for temporary files.
func tempDir() string {
	if dir := os.Getenv("RAFTBUS_ARTIFACTS"); dir != "" {
		return dir
	}
	return os.TempDir()
}
