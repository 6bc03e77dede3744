DELETE FROM members_site WHERE slug = 'main';
