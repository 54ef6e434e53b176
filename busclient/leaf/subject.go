package leaf

// What may stand in a line of the protocol. A subject with a space or an end of line in it would be another line.

import "strings"

// subjectBytesMax bounds a subject and a reply: a server takes 64 KiB for the whole line.
const subjectBytesMax = 16 << 10

// loopPrefix is of subjects by which servers find that a leaf leads back to them.
const loopPrefix = "$LDS."

// publishable reports whether a message can have the subject: tokens that are not empty, and no wildcard.
func publishable(subject string) bool {
	if len(subject) > subjectBytesMax {
		return false
	}
	begin := 0
	for i := 0; i <= len(subject); i++ {
		switch {
		case i < len(subject) && subject[i] <= ' ':
			return false
		case i < len(subject) && subject[i] != '.':
			continue
		case i == begin, i == begin+1 && (subject[begin] == '*' || subject[begin] == '>'):
			return false
		}
		begin = i + 1
	}
	return !strings.HasPrefix(subject, loopPrefix)
}

// replyable reports whether a message can have the reply. What it is means nothing to a server, unless it is one of ours to rewrite.
func replyable(reply string) bool {
	if len(reply) > subjectBytesMax || reply == "+" || reply == "|" {
		return false
	}
	for i := range len(reply) {
		if reply[i] <= ' ' {
			return false
		}
	}
	return true
}
