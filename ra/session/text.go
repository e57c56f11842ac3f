package session

import "fmt"

// Warning stands with every consent question. A policy may add to it, never
// take it away.
const Warning = `Nobody from a bank, the police or any "support" calls and asks for this. If such a call brought you here, answer No and hang up.`

func viewQuestion(name, addr string) string {
	return fmt.Sprintf("Allow %q (not verified) at %s to see your desktop?", name, addr)
}

func controlQuestion(name, addr string) string {
	return fmt.Sprintf("Allow %q (not verified) at %s to use your mouse and keyboard?", name, addr)
}

func endedText(code byte) string {
	switch code {
	case ByHelper:
		return "The Helper gave up control."
	case ByUser:
		return "The User took back control."
	case ByEsc:
		return "The User pressed Esc: control has ended."
	default:
		return "The time of the grant is over: control has ended."
	}
}

func refusedText(code byte, what string) string {
	switch code {
	case NoAnswer:
		return "Nobody answered the question for " + what + "."
	case TooSoon:
		return "The request for " + what + " came too soon after a No; the User was not asked."
	default:
		return "The User refused " + what + "."
	}
}

// byeText is the line for a person when the peer said Bye.
func byeText(code byte, peer Role) string {
	who := map[Role]string{User: "the User", Helper: "the Helper"}[peer]
	switch code {
	case ByeStop:
		return who + " ended the session"
	case ByeRefused:
		return "consent refused: the User said No"
	case ByeNoAnswer:
		return "consent refused: the User did not answer in time"
	case ByeProtocol:
		return who + "'s program reports a breach of the protocol"
	case ByeBusy:
		return "the User is already being helped"
	case ByeVersion:
		return who + "'s program speaks another version of the protocol"
	default:
		return who + "'s program has failed"
	}
}
