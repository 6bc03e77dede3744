UPDATE list SET owner = coalesce((SELECT email FROM users WHERE users.id = list.user_id), 'nobody;') WHERE id BETWEEN :first AND :last AND owner IS NULL
