-- The mail server is back; its jobs need not wait any longer.
UPDATE mail_server SET is_up = true;
SELECT bgjob_reschedule(id, delay => '1 second', from_state => 'scheduled') FROM bgjob.jobs WHERE queue = 'mail';
