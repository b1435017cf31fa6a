-- Repairs the mail server and retries its jobs after a second.
UPDATE mail_server SET is_up = true;
SELECT bgjob_reschedule(id, delay => '1 second', from_state => 'scheduled') FROM bgjob.jobs WHERE queue = 'mail';
